"""Fields of many cells: their label images, and finding and cutting out their cells."""
