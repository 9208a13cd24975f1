"""Train: four steps to a recipe, then the run."""

import streamlit as st

from kdlight.ui import navigation, theme
from kdlight.ui.train import form, run_view

navigation.enter()
with st.sidebar:
    run = run_view.choose()
    st.caption("A run goes on by itself: this page, the browser and the server may be closed.")

if run is not None:
    theme.heading("Train", run_view.title(run))
    run_view.draw(run)
    st.stop()

theme.heading("Train", "Make your own pair: a teacher learns from your images, a student learns from both.")
with st.container(border=True):
    start = form.data_step()
recipe = start.recipe
steps = (form.teacher_step, form.student_step, form.method_step)
for column, step in zip(st.columns(3, gap="small"), steps, strict=True):
    with column.container(border=True, height="stretch"):
        recipe = step(start, recipe)
if not start.named:
    st.info("Name a labeled set to go on.")
    st.stop()

form.launch(recipe, run_view.begin)
