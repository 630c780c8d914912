"""Where mail knocks: the doors translate, and hold no rule of their own."""
