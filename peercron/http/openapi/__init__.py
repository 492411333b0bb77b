"""OpenAPI: the whole HTTP face described for programs. Imported when somebody asks for it, never by a node that starts.

Each noun has a module here, named like the one of its routes: the shapes of its bodies and answers, and `OPERATIONS`,
what is to be said of each of its routes. Tests hold all of it against what the server takes and answers.
"""
