"""The bundled trainer: one loop, objectives and augmentations as small parts."""
