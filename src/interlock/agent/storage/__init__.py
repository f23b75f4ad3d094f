"""The files of a storage domain: images, volumes, what describes them, and qemu-img."""
