def gallery_section(root): return None
