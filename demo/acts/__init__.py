"""The acts of the story, each a module of steps in the order in which story.py plays them."""
