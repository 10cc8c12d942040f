"""A site in which every fix of `find_uninstrumented` was followed by hand.

Comments say what the command prints for the code before, and mark what was written then:

    # fix: TEXT       the printed text; its line numbers count from this comment
    CODE  # fixed     was added
    # before: CODE    was replaced

Lines keep their numbers without the fixes. Each call passes the name of its case as the model.
"""
