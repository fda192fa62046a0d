"""How the example cohort is made: people, their journeys and the plain files they leave.

Everything comes from one seed, so that the same seed gives the same bytes. Nobody in it exists:
region codes end in 99, which no county has, and telephone numbers begin with 100.
Reading order: dice, tables, people, claims, journey, refunds, sessions, results, plan; pictures
and papers draw the files.
"""
