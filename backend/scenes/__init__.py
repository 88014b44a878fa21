"""What every model is to the rest of the program: a Scene, a Generator, and the scenes made of other scenes."""
