"""Streamlit pages, queries and live views."""
