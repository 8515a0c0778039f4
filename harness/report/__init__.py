"""Report: from records to tables and figures. Pure functions of files on disk, without torch; nothing here prints."""
