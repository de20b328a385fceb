"""PostgreSQL as results and ledger both reach it.

============ ======================================================================================
address      the URL taken apart, TLS included; its password in no message
session      one connection; its errors as ours
============ ======================================================================================
"""
