"""Pages. Each module has TITLE, ORDER and page(); the shell finds it by being here or in the folder TWINFLOW_PAGES."""

import os

if os.environ.get("TWINFLOW_PAGES"):
    __path__.append(os.environ["TWINFLOW_PAGES"])
