"""Issues of the workspace: files of its tree, read defensively, written by commits."""

from lib.workspace.issues.comments import Comment
from lib.workspace.issues.errors import IssueBroken, IssueFull, IssueNotFound, NoNumberLeft
from lib.workspace.issues.issue import Asset, Issue, IssueChange, IssueQuery, NewIssue
from lib.workspace.issues.issues import Discussed, IssueList, Issues

__all__ = [
    "Asset",
    "Comment",
    "Discussed",
    "Issue",
    "IssueBroken",
    "IssueChange",
    "IssueFull",
    "IssueList",
    "IssueNotFound",
    "IssueQuery",
    "Issues",
    "NewIssue",
    "NoNumberLeft",
]
