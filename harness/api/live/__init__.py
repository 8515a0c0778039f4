"""Objects of this process in an evaluation: networks and plugins that no command line can name."""
