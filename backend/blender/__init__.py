"""The add-on for Blender as an extension: its ZIPs, the index of a repository of them, and Blender's own tool for both."""
