"""What `heji demo` runs on: example tables, their declarations, questions in SQL, and the same computed in the clear.

    credit_code   unified social credit codes (GB 32100-2015) with their check digits
    code_lists    GB/T 4754 industries, GB/T 2260 provinces, firm sizes: codes and names
    firms         maker of linked small-enterprise tables for five institutions, any size
    datasets      the two real tables (examples/data) and how they are split
    tables        declared types, bounds, domains and grants; ``prepare`` writes every member's files
    stories       the questions the demo asks
    plaintext     the same answers over pooled plaintext, and the comparison: only a demo can do that
    chart         bars for the terminal

Nothing here is used by a member that holds real data.
"""
