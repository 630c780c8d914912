"""Draws the dashboards as pictures: their own queries, a real Prometheus, a page of ours."""
