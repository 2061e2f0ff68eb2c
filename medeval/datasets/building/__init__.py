"""``medeval dataset``: build the SA-Med2D-20M layout from volumes, describe it, and look for what is wrong with it.

    plan_nnunet / plan_pairs -> Plan         what would be built, with names, modalities and class ids
    build(plan, out, options) -> Summary     images, masks, index, class mapping, sidecar, split files, log
    rebuild(dataset, case)                   the masks of a volume, put back into their places
    statistics(dataset) -> Statistics        what the paper tells of its collection
    inspect(dataset) -> Findings             broken, orphaned, empty, odd, doubled, leaking

See ``docs/sa_med2d.md``.
"""
