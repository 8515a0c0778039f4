"""Charts of the page."""
def charts_of_board(board, ranks): return []
def charts_across(records): return []
