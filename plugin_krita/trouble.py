"""The docker when the plug-in cannot work here: it is there, and says what to do, instead of a greyed line in Krita's list of plug-ins."""

from __future__ import annotations


def register(sentence: str) -> None:
    """Register a docker that shows `sentence`. It has the id of the real one, so it keeps its place in the workspace."""
    import krita

    from .qt import Qt, QtWidgets

    class Trouble(krita.DockWidget):  # a class of Krita's: it exists only where Krita runs
        """One sentence, to be read and copied."""

        def __init__(self) -> None:
            super().__init__()
            self.setWindowTitle("Likeness")
            label = QtWidgets.QLabel(sentence)
            label.setWordWrap(True)
            label.setMargin(8)
            label.setAlignment(Qt.AlignmentFlag.AlignTop)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            area = QtWidgets.QScrollArea()  # a new docker is a few lines high
            area.setWidgetResizable(True)
            area.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
            area.setWidget(label)
            self.setWidget(area)

        def canvasChanged(self, canvas: object) -> None:  # Krita calls it
            """Nothing depends on the canvas."""

    place = krita.DockWidgetFactoryBase.DockPosition.DockRight
    krita.Krita.instance().addDockWidgetFactory(krita.DockWidgetFactory("likeness", place, Trouble))
