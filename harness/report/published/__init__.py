"""Tables printed in papers, alone and beside measured numbers."""
