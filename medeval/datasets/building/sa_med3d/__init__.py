"""What ``medeval dataset stats|check`` tell of folders in SAM-Med3D's layout.

    open_splits(root, patient) -> {split: SAMed3D}   the splits that are there
    statistics(splits) -> Statistics                 structures, modalities, sizes, spacings, components
    inspect(splits) -> Findings                      broken, orphaned, empty, unlike, doubled, leaking

See ``docs/sam_med3d.md``.
"""
