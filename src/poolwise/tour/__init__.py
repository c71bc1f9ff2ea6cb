"""The tour: lessons on threads, processes and what decides between them, each run and measured where it is read.

programs/lesson_NN.py             a short program, for the standard library alone (some need Pillow)
programs/lesson_NN_poolwise.py    the same with poolwise
lesson_NN.py                      what the measurement of both shows, in words that depend on nothing else

programs ─run─> Ran ─shows, beside─> sentences and charts ─drawing─> a terminal    run      in a fresh process
                                                         └─page────> HTML          server   images on loopback
"""
