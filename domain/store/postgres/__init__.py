"""How the store reaches PostgreSQL: connections, pools, notifications, migrations.

Imports nothing of the store but `domain.store.errors`. Begin with connection.py.
"""
