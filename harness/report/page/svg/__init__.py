"""Charts as SVG: scales, axes and marks, without a chart library."""
