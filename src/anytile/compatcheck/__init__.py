"""`anytile compat check`: does a Triton, or anytile in its place, answer all that a PyTorch touches?

    sources.py      the .py files of torch or Triton, in a wheel or a folder
    uses.py         what a torch touches of Triton: every name, where, how, behind which guards
    templates.py    the same for the code that Inductor writes: names in strings and Jinja templates
    definitions.py  what a Triton defines: modules, names, members of classes, signatures
    face.py         what anytile's own face answers at an API level: asked of the real face, in a process of its own
    forms.py        changes of form behind an unchanged name: rules that pair a reading of torch with one of Triton
    verdict.py      uses against definitions: what is answered, what is probed for, what is missing
    facts.py        which public Triton has which of these names, as recorded
    fetch.py        wheels by version, through pip or uv, where the user asked for them
    check.py        the command: what to look at, the report, the exit status
    recipe.py       a scheduled job for continuous integration

Nothing of torch or Triton is executed: both are read as syntax.
"""
