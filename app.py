"""kdlight's entry: page config and navigation, nothing else. Start it with `streamlit run app.py`."""

import streamlit as st
from starlette.middleware import Middleware

from kdlight.ui import gate, navigation, places, sessions

if __name__ == "__main__":  # run anew for each person
    from kdlight.ui import theme

    page = st.navigation(navigation.pages(), position="top")
    st.set_page_config(
        page_title=f"{page.title} · kdlight",
        page_icon=str(theme.ASSETS / "mark.svg"),
        layout="wide",
        initial_sidebar_state="auto",
        menu_items={"About": "kdlight: teacher and student, side by side. Research and teaching use only."},
    )
    st.logo(str(theme.ASSETS / f"logo-{theme.kind()}.svg"), size="medium")
    theme.dress()
    navigation.frame_drawn()
    page.run()
else:  # imported once by `streamlit run`, for the addresses that it serves
    places.confine()
    app = st.App("app.py", routes=navigation.routes(), middleware=[Middleware(gate.Gate)], lifespan=sessions.sweeping)
