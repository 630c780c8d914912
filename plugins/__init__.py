"""The plugins that come with filterrelay, registered exactly as a third party's would be."""
