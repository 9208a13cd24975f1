"""What the pages draw with. Only this room, the pages and app.py import streamlit."""
