"""What is attached: judged by name and by content, archives looked into."""

from filterrelay_plugins.attachments.plugin import Attachments, AttachmentsOptions

__all__ = ["Attachments", "AttachmentsOptions"]
