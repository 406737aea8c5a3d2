"""What the parts of the presenter share: the canvas, the client, the worker thread, the form, and errands to the backend."""

from __future__ import annotations

from .background import Background
from .form import Form
from .host import DocumentCard, Host, LayerCard
from .protocol.client import Client
from .protocol.desk.errands import Errands
from .protocol.desk.store import Store


class Desk(Errands):
    """Shared by the presenter's parts; each of them changes its own values only, and `notice` and `form` through here."""

    def __init__(self, host: Host, client: Client, store: Store, form: Form) -> None:
        super().__init__(client)
        self.host, self.store, self.form = host, store, form
        self.background = Background()
        self.card: DocumentCard | None = None
        self.layers: tuple[LayerCard, ...] = ()
