"""Generated images scored beside reference images, by the features of one or several networks."""
