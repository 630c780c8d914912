"""What nobody should send and somebody will: the door must refuse or bear it, and stay open."""
