"""Application documents (报名资料): which ones are required, and why a file is refused.

Imports `domain.values` and `domain.errors`. Begin with materials.py; document_rules.py has
what an edition may change.
"""
