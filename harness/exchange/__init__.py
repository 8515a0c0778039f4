"""Results that change hands: checks of other people's records, copies between folders and servers, exports."""
