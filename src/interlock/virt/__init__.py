"""Virtual machines, disks and hosts: the entities, and the commands that change them."""
