"""kdlight's front door: page config and navigation, nothing else. Start it with `streamlit run app.py`."""

import streamlit as st

from kdlight.ui import front, theme

page = st.navigation(front.pages(), position="top")
st.set_page_config(
    page_title=f"{page.title} · kdlight",
    page_icon=str(theme.ASSETS / "mark.svg"),
    layout="wide",
    initial_sidebar_state="expanded",
    menu_items={"About": "kdlight: teacher and student, side by side. Research and teaching use only."},
)
st.logo(str(theme.ASSETS / f"logo-{theme.kind()}.svg"), size="medium")
theme.dress()
front.passed()
page.run()
