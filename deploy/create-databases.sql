-- Run once, when the database is made: the ledger is in the database provisor, Prefect has one of its own.
CREATE DATABASE prefect;
