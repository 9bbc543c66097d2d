"""Columns, an index and a constraint for tables that have rows, and rows changed by Python."""

from django.db import migrations, models


def furnish(apps, schema_editor) -> None:
    shelf = apps.get_model("shop", "Shelf")
    shelf.objects.bulk_create([shelf(name=f"shelf {number}") for number in range(20)])
    assert shelf.objects.filter(room="hall").count() == 20
    shelf.objects.filter(name__endswith="7").update(room="kitchen")


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("shelf", "room", models.CharField(max_length=100, default="hall")),
        migrations.AddField("item", "details", models.JSONField(default=dict)),
        migrations.AddIndex("item", models.Index(fields=["name"], name="item_name")),
        migrations.AddConstraint("item", models.UniqueConstraint(fields=["shelf", "name"], name="item_once_a_shelf")),
        migrations.RunPython(furnish, migrations.RunPython.noop),
    ]
