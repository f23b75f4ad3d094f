"""Parsing of calls: what is accepted, what is refused, and that a typed call survives the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import verbs
from interlock.verbs import InvalidParams, UnknownVerb, Verb

A = "0190a0b0-0000-7000-8000-00000000000a"
B = "0190a0b0-0000-7000-8000-00000000000b"
C = "0190a0b0-0000-7000-8000-00000000000c"
D = "0190a0b0-0000-7000-8000-00000000000d"

CREATE: Mapping[str, object] = {
    "storagepoolID": A,
    "storagedomainID": B,
    "imageID": C,
    "volumeID": D,
    "size": 1 << 20,
    "volFormat": 4,
    "preallocate": 2,
    "desc": "a disk",
}
DOMAIN: Mapping[str, object] = {
    "storagedomainID": B,
    "domainType": 4,
    "domainName": "local",
    "typeArgs": "/srv/domains",
    "domainClass": 1,
    "version": 5,
}

CHAIN = verbs.Subchain(sd_id=A, img_id=B, top_id=C, base_id=D, base_generation=0)


def end(volume: str, generation: int | None = None) -> verbs.VolumeEndpoint:
    """A volume as the source or destination of a copy."""
    return verbs.VolumeEndpoint(endpoint_type="div", sd_id=A, img_id=B, vol_id=volume, generation=generation)


CALLS = [
    verbs.HostPing2(),
    verbs.HostGetCapabilities(),
    verbs.HostGetAllTasksStatuses(),
    verbs.HostGetAllTasks(),
    verbs.TaskGetStatus(taskID=A),
    verbs.TaskGetInfo(taskID=A),
    verbs.TaskStop(taskID=A),
    verbs.TaskClear(taskID=A),
    verbs.TaskForbidOrGet(taskID=A, flow=B, term=7),
    verbs.StorageDomainCreate(storagedomainID=B, domainName="local", typeArgs="/srv/domains"),
    verbs.VolumeCreate(
        storagepoolID=verbs.BLANK_ID,
        storagedomainID=B,
        imageID=C,
        volumeID=D,
        size=verbs.SIZE_BYTES_MAX,
        volFormat=verbs.VolumeFormat.RAW,
        preallocate=verbs.Preallocate.PREALLOCATED,
    ),
    verbs.VolumeCopy(
        storagepoolID=A,
        storagedomainID=B,
        imageID=C,
        volumeID=D,
        dstSdUUID=B,
        dstImgUUID=D,
        dstVolUUID=A,
        volType=verbs.VolumeType.SHARED,
    ),
    verbs.VolumeGetInfo(storagepoolID=A, storagedomainID=B, imageID=C, volumeID=D),
    verbs.VolumeDelete(storagepoolID=A, storagedomainID=B, imageID=C, volumeID=D, postZero=True),
    verbs.VolumeExtendSize(storagepoolID=A, storagedomainID=B, imageID=C, volumeID=D, newSize=2 << 20),
    verbs.ImageDelete(storagepoolID=A, storagedomainID=B, imageID=C, force=True),
    verbs.ImageMove(storagepoolID=A, storagedomainID=B, imageID=C, dstSdUUID=D, operation=verbs.ImageOperation.MOVE),
    verbs.ImageCloneStructure(storagepoolID=A, storagedomainID=B, imageID=C, dstSdUUID=D),
    verbs.ImageSyncData(storagepoolID=A, storagedomainID=B, imageID=C, dstSdUUID=D, syncType=verbs.SyncType.INTERNAL),
    verbs.ImageDeleteVolumes(storagepoolID=A, storagedomainID=B, imageID=C, volumeList=[A, D]),
    verbs.ImageGetVolumes(storagepoolID=A, storagedomainID=B, imageID=C),
    verbs.ImageGetVolumesList(storagepoolID=A, storagedomainID=B, imageID=C),
    verbs.HostGetAllTasksInfo(),
    verbs.HostGetAllVmStats(),
    verbs.HostGetJobs(job_type="storage", job_ids=[A]),
    verbs.HostGetStats(),
    verbs.TaskRevert(taskID=A),
    verbs.StorageDomainDetach(storagedomainID=B, storagepoolID=A),
    verbs.StoragePoolSpmStart(storagepoolID=A),
    verbs.StoragePoolSpmStop(storagepoolID=A),
    verbs.StoragePoolGetSpmStatus(storagepoolID=A),
    verbs.StoragePoolPrepareMerge(storagepoolID=A, subchainInfo=CHAIN),
    verbs.StoragePoolFinalizeMerge(storagepoolID=A, subchainInfo=CHAIN),
    verbs.SdmCopyData(job_id=A, source=end(C), destination=end(D, generation=3)),
    verbs.SdmMerge(job_id=A, subchain_info=CHAIN),
    verbs.TaskForbidOrGet(taskID=A, flow=B, term=7, forGood=True),
]


def test_the_list_above_names_every_verb() -> None:
    assert {call.method for call in CALLS} == set(verbs.VERBS)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.method)
def test_a_call_comes_back_from_the_wire_as_it_was(call: Verb) -> None:
    assert verbs.parse(call.method, json.loads(json.dumps(call.wire_params()))) == call


def test_wire_params_of_a_new_volume_are_the_wires_own_names_and_numbers() -> None:
    assert verbs.parse("Volume.create", CREATE).wire_params() == {
        "storagepoolID": A,
        "storagedomainID": B,
        "imageID": C,
        "volumeID": D,
        "size": 1048576,
        "volFormat": 4,
        "preallocate": 2,
        "diskType": "DATA",
        "desc": "a disk",
        "srcImgUUID": "00000000-0000-0000-0000-000000000000",
        "srcVolUUID": "00000000-0000-0000-0000-000000000000",
    }


def test_which_verbs_change_something_and_which_are_recorded_under_the_callers_id() -> None:
    def those(kind: Callable[[type[Verb]], bool]) -> set[str]:
        return {name for name, verb in verbs.VERBS.items() if kind(verb)}

    about_tasks = {"Task.stop", "Task.clear", "Task.revert", "Task.forbidOrGet"}
    synchronous = {"StorageDomain.create", "StorageDomain.detach", "StoragePool.spmStop"}
    host_jobs = {"SDM.copy_data", "SDM.merge"}
    tasks = {
        "Volume.create",
        "Volume.copy",
        "Volume.delete",
        "Volume.extendSize",
        "Image.delete",
        "Image.move",
        "Image.cloneStructure",
        "Image.syncData",
        "Image.deleteVolumes",
        "StoragePool.spmStart",
        "StoragePool.prepareMerge",
        "StoragePool.finalizeMerge",
    }
    assert those(lambda verb: verb.is_mutating) == about_tasks | synchronous | host_jobs | tasks
    assert those(lambda verb: verb.takes_task_id) == synchronous | tasks
    assert those(lambda verb: verb.is_async) == host_jobs | tasks
    assert those(lambda verb: verb.is_host_job) == host_jobs


def test_an_unknown_verb_is_named() -> None:
    with pytest.raises(UnknownVerb, match=r"there is no verb 'Host\.reboot'"):
        verbs.parse("Host.reboot", {})


def test_a_missing_and_an_unknown_parameter_are_both_named() -> None:
    with pytest.raises(InvalidParams) as refused:
        verbs.parse("Task.getStatus", {"task": A})
    assert refused.value.reasons == ("taskID: Field required", "task: Extra inputs are not permitted")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "a",
        A.upper(),
        A.replace("-", ""),
        "{" + A + "}",
        f"urn:uuid:{A}",
        A + "\n",
        A + "\0",
        "../../etc/passwd",
        verbs.BLANK_ID,
        7,
        None,
        [A],
    ],
)
def test_an_id_must_be_a_canonical_uuid(bad: object) -> None:
    with pytest.raises(InvalidParams):
        verbs.parse("Task.getStatus", {"taskID": bad})


@pytest.mark.parametrize("bad", [0, -1, 10 * 1024**6, verbs.SIZE_BYTES_MAX + 1, "1024", 1024.0, True, None, 10**400])
def test_a_size_must_be_a_whole_number_of_bytes_up_to_8_eib(bad: object) -> None:
    with pytest.raises(InvalidParams, match=r"^Volume\.create: size: "):
        verbs.parse("Volume.create", {**CREATE, "size": bad})


@pytest.mark.parametrize(
    "bad",
    [
        {"volFormat": 6},
        {"volFormat": "COW"},
        {"volFormat": 4.0},
        {"preallocate": True},
        {"preallocate": 1},  # COW and preallocated do not go together
        {"srcVolUUID": A},  # a volume without its image
        {"srcImgUUID": A},
        {"srcImgUUID": A, "srcVolUUID": A, "volFormat": 5},  # a parent and RAW
        {"srcImgUUID": C, "srcVolUUID": D},  # its own parent
        {"diskType": "DATA\n"},
        {"taskID": A},  # not a parameter of the verb itself
    ],
)
def test_a_volume_that_makes_no_sense_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidParams):
        verbs.parse("Volume.create", {**CREATE, **bad})


@pytest.mark.parametrize(
    "bad", ["", "-rf", "a/b", "a\0b", "a\nb", "a\r\nb", "a\x1bb", "a\u202eb", " a", "a ", "x" * 256, 7]
)
def test_a_name_is_one_line_of_printable_characters(bad: object) -> None:
    with pytest.raises(InvalidParams, match=r"^StorageDomain\.create: domainName: "):
        verbs.parse("StorageDomain.create", {**DOMAIN, "domainName": bad})


@pytest.mark.parametrize(
    "bad",
    [
        'json:{"driver":"nbd"}',
        "nbd:localhost:10809",
        "nbd://localhost/x",
        "file:/srv",
        "srv/domains",
        "/srv/../etc",
        "/srv/./domains",
        "/srv//domains",
        "//srv",
        "/srv/",
        "/",
        "",
        "/srv\0",
        "/srv\n",
        "/" + "x" * 1024,
    ],
)
def test_a_folder_is_an_absolute_normalized_path(bad: str) -> None:
    with pytest.raises(InvalidParams, match=r"^StorageDomain\.create: typeArgs: "):
        verbs.parse("StorageDomain.create", {**DOMAIN, "typeArgs": bad})


def test_a_volume_is_not_copied_into_its_own_image() -> None:
    good = CALLS[11].wire_params()
    with pytest.raises(InvalidParams, match="its own image"):
        verbs.parse("Volume.copy", {**good, "dstImgUUID": C})


def test_a_verb_cannot_be_changed_afterwards() -> None:
    call = verbs.TaskStop(taskID=A)
    with pytest.raises(ValueError, match="frozen"):
        call.taskID = B


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(sorted({name for call in CALLS for name in call.wire_params()})) | st.text(max_size=9)


@given(st.sampled_from(sorted(verbs.VERBS)), st.dictionaries(NAMES, JSON, max_size=6))
def test_whatever_is_sent_is_parsed_or_refused_in_words(method: str, params: dict[str, object]) -> None:
    try:
        answer = verbs.parse(method, params).method
    except InvalidParams as refused:
        answer = refused.method if refused.reasons else "no reason given"
    assert answer == method
