"""Files of calls, of daily rows and of reports: CSV, JSON, JSON Lines and XLSX.

`rows` reads the tables in chunks. `text` and `xlsx` write chunks to a file. A chunk is a list of
columns, because it is faster to convert a column than a cell.
"""
