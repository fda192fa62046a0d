"""Assesses whether a candidate may apply (资质评估), by rule sets that are data.

Imports `domain.values`, `domain.documents` and `domain.errors`. Begin with assessment.py: it asks
rule_sets.py for the rules of an occupation and evaluates them with predicates.py over
qualifications.py; explanations.py words the result.
"""
