"""Read: one scan, two opinions."""

import streamlit as st

from kdlight.images import ImageError
from kdlight.ui import navigation, waiting
from kdlight.ui.read import controls, opinions, readings, scans, screens, sensitivity, stages, verdict, viewer

navigation.enter()
waiting.workers()  # they warm up while the person still looks for a file
with st.sidebar:
    scan = scans.choose()

screens.rejected()
if scan is None:
    screens.nothing_yet()
    st.stop()

try:
    image = scans.frame(scan)
except ImageError as error:
    screens.refused(error)
    st.stop()

with st.sidebar:
    settings = controls.settings(scan, image)
    stages.offer(image, settings.bundle)

screens.scan_line(image, scan, settings.modality)
above = st.container(key="kd_above")  # the verdict, or what stands in its place until there is one
scans.choose_frame(scan, image)
question = settings.question(image)
reading = (readings.known(question) or readings.latest(question)) if question else None
if reading is not None:
    reading = sensitivity.applied(reading, settings.bundle.card)
viewer.show(image, settings.names(), settings.maps(reading), screens.label(image, settings.modality))

with above:
    if reading is not None:
        verdict.draw(reading, settings.bundle, scan.caution)
    if question is None:
        screens.choose_first(settings)
    elif readings.known(question) is None:
        screens.ask(question, image, settings.bundle)
    else:
        readings.drop()  # what was asked before and is no longer waited for
if reading is not None:
    opinions.result(reading, settings.bundle)
