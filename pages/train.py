"""Train: four steps to a recipe, then the run."""

import streamlit as st

from kdlight.ui import front, recipe_form, run_view, theme, words

front.door()
with st.sidebar:
    run = run_view.choose()
    st.caption("A run goes on by itself: this page, the browser and the server may be closed.")

if run is not None:
    theme.heading("Train", words.safe(run_view.title(run)))
    run_view.draw(run)
    st.stop()

theme.heading("Train", "Make your own pair: a teacher learns from your images, a student learns from both.")
left, right = st.columns(2, gap="large")
with left:
    with st.container(border=True):
        recipe = recipe_form.data_step()
    if recipe is None:
        st.info("Name a labeled set to go on.")
        st.stop()
    with st.container(border=True):
        recipe = recipe_form.teacher_step(recipe)
with right:
    with st.container(border=True):
        recipe = recipe_form.student_step(recipe)
    with st.container(border=True):
        recipe = recipe_form.method_step(recipe)

toml = recipe_form.checked(recipe)
if toml is not None and recipe_form.launch(toml):
    run_view.begin(toml)
