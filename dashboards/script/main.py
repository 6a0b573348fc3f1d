"""What Streamlit runs. Alone in its folder: beside a folder `pages` Streamlit would make its own navigation of it."""

from dashboards.shell import main

main()
