"""Comparing shapes and pools on a function's own items: `poolwise.bench` and `poolwise bench`.

model       values: what is compared, the runs, the comparison     statistics  intervals over blocks; pure
schedule    how many items, which shapes, in which order; pure     analysis    runs become a comparison; pure
words       table, sentence, Markdown; pure                        record      a comparison as a file
process     one fresh process, with a limit                        measure     a run of one side in one
child       what such a process does                               peers       other pools
plot        the picture                                            compare     all of them together

The folder is not called `bench`: a submodule of that name would take the place of the function `poolwise.bench`.
"""
