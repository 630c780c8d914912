"""`python -m grafana`: writes the dashboards anew."""

from .boards import write

if __name__ == "__main__":
    write()
