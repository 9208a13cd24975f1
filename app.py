"""kdlight's front door: page config and navigation, nothing else. Start it with `streamlit run app.py`."""

import streamlit as st

from kdlight.ui import theme

pages = [
    st.Page("pages/read.py", title="Read", default=True),
    st.Page("pages/compare.py", title="Compare"),
    st.Page("pages/train.py", title="Train"),
    st.Page("pages/library.py", title="Library"),
]
page = st.navigation(pages, position="top")
st.set_page_config(
    page_title=f"{page.title} · kdlight",
    page_icon=str(theme.ASSETS / "mark.svg"),
    layout="wide",
    initial_sidebar_state="expanded",
    menu_items={"About": "kdlight: teacher and student, side by side. Research and teaching use only."},
)
st.logo(str(theme.ASSETS / f"logo-{theme.kind()}.svg"), size="medium")
theme.dress()
page.run()
