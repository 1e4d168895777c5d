from __future__ import annotations

from django.urls import path

from annotate.views import accounts, data, home, label, people, projects, quality

PROJECT = "projects/<slug:slug>/"

urlpatterns = [
    path("", home.home, name="home"),
    path("accounts/login/", accounts.sign_in, name="login"),
    path("accounts/logout/", accounts.sign_out, name="logout"),
    path("accounts/password/", accounts.password, name="password"),
    path("accounts/enter/<str:token>/", accounts.enter, name="enter"),
    path("invitations/<str:token>/", people.invitation, name="invitation"),
    path("projects/", projects.projects, name="projects"),
    path("projects/new/", projects.new, name="project-new"),
    path(PROJECT + "label/", label.label, name="label"),
    path(PROJECT + "label/undo/", label.undo, name="undo"),
    path(PROJECT + "label/<uuid:token>/vote/", label.vote, name="vote"),
    path(PROJECT + "label/<uuid:token>/skip/", label.skip, name="skip"),
    path(PROJECT + "guidelines/", projects.guidelines, name="guidelines"),
    path(PROJECT + "quality/", quality.quality, name="quality"),
    path(PROJECT + "data/", data.data, name="data"),
    path(PROJECT + "data/import/", data.import_file, name="import"),
    path(PROJECT + "export/", data.export, name="export"),
    path(PROJECT + "settings/", projects.settings, name="project-settings"),
    path(PROJECT + "settings/archive/", projects.archive, name="project-archive"),
    path(PROJECT + "people/", people.people, name="people"),
    path(PROJECT + "people/invite/", people.invite, name="invite"),
    path(PROJECT + "people/invitations/<int:invitation_id>/", people.revoke, name="revoke"),
    path(PROJECT + "people/<int:member_id>/", people.member, name="member"),
]
