"""`python -m grafana.draw`."""

from .command import main

raise SystemExit(main())
