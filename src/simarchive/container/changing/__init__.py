"""How stored objects change, and what becomes of what was there: amended, removed, restored, made compact.

Objects keep a history of what was done to them; what was removed or replaced stays until its room is needed.
"""
