"""advice is kept for each version"""

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None

advice = sa.table(
    'advice',
    sa.column('project_id', sa.Integer),
    sa.column('version_id', sa.Integer),
    sa.column('at', sa.Double),
    sa.column('found', sa.JSON),
)
version = sa.table('version', sa.column('id', sa.Integer), sa.column('project_id', sa.Integer))
project = sa.table(
    'project', sa.column('id', sa.Integer), sa.column('served_version_id', sa.Integer)
)


def upgrade() -> None:
    db = op.get_bind()
    columns = (advice.c.project_id, advice.c.at, advice.c.found)
    # It was made with the newest version, and was shown as the served one's.
    newest = sa.select(sa.func.max(version.c.id)).where(version.c.project_id == advice.c.project_id)
    served = sa.select(project.c.served_version_id).where(project.c.id == advice.c.project_id)
    query = sa.select(
        *columns, newest.scalar_subquery().label('newest'), served.scalar_subquery().label('served')
    )
    rows = [
        {'project_id': row.project_id, 'version_id': each, 'at': row.at, 'found': row.found}
        for row in db.execute(query)
        for each in sorted({row.newest, row.served} - {None})
    ]
    op.drop_table('advice')
    op.create_table('advice',
    sa.Column('project_id', sa.Integer(), nullable=False),
    sa.Column('version_id', sa.Integer(), nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.Column('found', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_advice_project_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['version_id'], ['version.id'], name=op.f('fk_advice_version_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('version_id', name=op.f('pk_advice'))
    )
    if rows:
        db.execute(sa.insert(advice), rows)


def downgrade() -> None:
    db = op.get_bind()
    columns = (advice.c.project_id, advice.c.at, advice.c.found)
    by_age = db.execute(sa.select(*columns).order_by(advice.c.version_id))
    rows = {row.project_id: dict(row._mapping) for row in by_age}
    op.drop_table('advice')
    op.create_table('advice',
    sa.Column('project_id', sa.Integer(), nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.Column('found', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_advice_project_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_advice'))
    )
    if rows:
        db.execute(sa.insert(advice), list(rows.values()))
